// What holds for a valid/ready stream: valid stays until ready, what is offered does not change meanwhile.
`default_nettype none
module stream_rules #(
  parameter int unsigned Width = 1
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             valid_i,
  input  logic             ready_i,
  input  logic [Width-1:0] data_i,
  output logic             broken_o
);
  logic             held_q;
  logic [Width-1:0] data_q;
  always_ff @(posedge clk_i) begin
    held_q <= rst_ni && valid_i && !ready_i;
    data_q <= data_i;
  end
  assign broken_o = rst_ni && held_q && (!valid_i || data_i != data_q);
endmodule
`default_nettype wire
