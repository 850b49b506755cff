// Parts beats as a word, the first its lowest part; it stands with the last of them.
`default_nettype none
module acc_widen #(
  parameter int unsigned Width = 32,
  parameter int unsigned Parts = 1    // a power of two
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   in_valid_i,
  input  logic [Width-1:0]       in_data_i,
  output logic                   out_valid_o,
  output logic [Parts*Width-1:0] out_data_o
);
  localparam int unsigned CountW = $clog2(Parts) + 1;
  logic [CountW-1:0]      count_q;   // beats of the present word so far
  logic [Parts*Width-1:0] before_q;  // the upper parts are theirs
  logic                   last;
  assign last        = count_q == CountW'(Parts - 1);
  assign out_valid_o = in_valid_i && last;
  assign out_data_o  = (Parts*Width)'({in_data_i, before_q} >> Width);

  always_ff @(posedge clk_i) begin
    if (in_valid_i) before_q <= out_data_o;
    if (!rst_ni) count_q <= '0;
    else if (in_valid_i) count_q <= last ? '0 : count_q + CountW'(1);
  end
endmodule
`default_nettype wire
