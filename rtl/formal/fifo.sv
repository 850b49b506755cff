// acc_fifo: a word that is chosen when it enters leaves behind those that were before it, unchanged; never more than Depth
// words are inside, and it says so.
`default_nettype none
module fifo_proof #(
  parameter int unsigned Width = 4,
  parameter int unsigned Depth = 4
) (
  input  logic             clk_i,
  input  logic             in_valid_i,
  input  logic [Width-1:0] in_data_i,
  input  logic             out_ready_i,
  input  logic             choose_i,
  output logic             ok_o,
  output logic             left_o  // the chosen word has left
);
  logic begun_q = 1'b0;  // the first cycle is the reset
  always_ff @(posedge clk_i) begun_q <= 1'b1;

  logic             in_ready, out_valid, push, pop, chosen_q, waits;
  logic [Width-1:0] out_data, word_q;
  logic [3:0]       inside_q, ahead_q;
  acc_fifo #(.Width(Width), .Depth(Depth)) u_fifo (.clk_i, .rst_ni(begun_q), .in_valid_i, .in_ready_o(in_ready), .in_data_i,
                                                   .out_valid_o(out_valid), .out_ready_i, .out_data_o(out_data));
  assign push  = begun_q && in_valid_i && in_ready;
  assign pop   = begun_q && out_valid && out_ready_i;
  assign waits = chosen_q && !left_o;
  always_ff @(posedge clk_i) begin
    if (!begun_q) begin
      inside_q <= '0;
      chosen_q <= 1'b0;
      left_o   <= 1'b0;
    end else begin
      inside_q <= inside_q + 4'(push) - 4'(pop);
      if (push && choose_i && !chosen_q) begin
        chosen_q <= 1'b1;
        word_q   <= in_data_i;
        ahead_q  <= inside_q - 4'(pop);
      end else if (waits && pop) begin
        ahead_q <= ahead_q - 4'd1;
        left_o  <= ahead_q == '0;
      end
    end
  end
  assign ok_o = !begun_q || (in_ready == (inside_q != 4'(Depth)) && out_valid == (inside_q != '0) &&
                             (!waits || ahead_q != '0 || (out_valid && out_data == word_q)));
endmodule
`default_nettype wire
